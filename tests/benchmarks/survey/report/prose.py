"""What the page says that is the same for each run: what is measured, and what is not shown."""

from __future__ import annotations

AGAIN = "python -m benchmarks.survey.report RESULTS.json"

HEADINGS = {
    "one-in-flight": "One message in flight",
    "many-channels": "Many channels",
    "fan-out": "Groups",
    "broadcasts": "Many messages to a group at once",
    "churn": "Consumers that come and go",
    "workers": "Workers that share a channel",
    "synchronous": "Sending from synchronous code",
    "idle": "Consumers that wait",
}

MEASURED = {
    "one-in-flight": (
        "A consumer waits in `receive`, and a message is sent to it; the next one is sent when it "
        "has that one. The time is from the call of `send` until the consumer has the message."
    ),
    "many-channels": (
        "50 tasks each send to a channel of its own, one message after the other, while 50 "
        "consumers wait. Counted are the messages that arrived in a second, all in one process."
    ),
    "fan-out": (
        "A message is sent to a group; the next one is sent when all members have it. The members "
        "are spread over the processes, of which the sender's is one. Measured are the time until "
        "the last member has the message, that until any one has it, and deliveries a second: "
        "members times messages."
    ),
    "broadcasts": (
        "50 tasks send to one group of 20 members at the same time, and again when each member "
        "has all of them, all in one process. The times are for a volley of 50 messages."
    ),
    "churn": (
        "20 tasks each take a new channel, join a group and leave it again. One round is these "
        "three calls."
    ),
    "workers": (
        "50 tasks send numbered messages to one general channel, which worker processes read, as "
        "`manage.py runworker` does. Each message is to be handled by one worker, once. Counted "
        "are the messages handled in a second, those handled twice, and those never handled. "
        "Layers without a work queue hand each message to each worker, so they have no figures."
    ),
    "synchronous": (
        "Threads without an event loop call `async_to_sync(layer.group_send)`, as Django's views "
        "and signals do. The table also tells how many times longer that takes than "
        "`async_to_sync` of a coroutine that does nothing."
    ),
    "idle": (
        "Consumers join a group and wait in `receive` for messages that do not come, each in a "
        "task of its own. Memory and what joining costs are for 1,000 of them; connections are "
        "those that there are in the end."
    ),
}

# How a sentence begins that tells a figure.
SAID = {
    "p50": "Half of the messages arrive within",
    "rate": "At full speed",
    "all_p50": "Half of the messages are with all members within",
    "deliveries": "Deliveries at full speed",
    "client_memory": "Memory of the process for 1,000 consumers",
}

SUMMARY = (
    "This page compares the layers of this repository with `channels_redis` 4.3.0 and others, "
    "by doing the same work with each. All figures were measured on one machine; "
    "[repeat it](#measured-on) on yours. Read [what they do not show]"
    "(#what-these-figures-do-not-show), too."
)

TIMES = (
    "How many times better than {theirs}, by the medians of {rounds}; in brackets the least and "
    "the greatest of the rounds. On the right: what share of the speed of bare redis-py with the "
    "same commands is reached."
)

READING = (
    "Each figure is the median of {rounds}, with the least and the greatest in brackets. The "
    "contenders do each work in turn, every time in a new process on an emptied server, so that a "
    "busy moment of the machine hits all of them. Work ends when all of its messages have arrived, "
    "so a lost one shows as work that was not done. {times} is how many times better one is than "
    "the other: as many times faster, or as many times less. It is computed from the medians; in "
    'brackets are the least and the greatest of the rounds. "Raw" is redis-py that runs the same '
    "commands, pipelined, without a channel layer: about as fast as the protocol allows."
)

ROUNDS_UNKNOWN = "the rounds"

COSTS = (
    "CPU time, commands, bytes and reads for one operation of the work, counted at the server and "
    "read from the system's clocks for the processes; commands inside scripts are counted. "
    "Connections are those at the end."
)

GROWTH = (
    "One thing is raised step by step, all else stays as it is, until something gives. CPU time is "
    "in cores: 1 is one core that is busy all the time."
)

NODES = "Computed from what was measured on one machine; there were no others."

PROFILES = (
    "Shares of the time of each side while it does the work: of the process, as samples see it a "
    "thousand times a second, and of the server, as it counts itself. What was done about the "
    "largest, and why a layer takes longer than redis-py alone does for the same commands, stands "
    "in [Architecture](architecture.md#how-far-from-redis-py-alone)."
)

SOAK = (
    "{minutes} minutes of load on each layer, with faults in between, begun {started}. Of "
    "{quantities} quantities that must not grow, {flat} did not."
)

NOT_SHOWN = (
    (
        "**Your machine.** {cpus} carried the server, the senders, the receivers and the "
        "measuring. On more cores they would not take time from each other, and with a server of "
        "its own the layers' shares of the work come out differently."
    ),
    (
        "**A network.** All went over the loopback interface, where a round trip takes "
        "microseconds. Where it takes longer, the number of round trips counts for more than the "
        "CPU time does, and the figures here say little of latency there."
    ),
    (
        '**TLS.** Connections were not encrypted. Where a table says "encrypted", the layer '
        "encrypts the messages."
    ),
    (
        "**Your messages.** A message is a dict with a type and a text, of {small} bytes where "
        "nothing else is said. Many small values cost more to serialise than one long text."
    ),
    (
        "**Your load.** Load here is as high as it goes, or one message at a time. Sites are in "
        "between, most of them near idle, where no user sees a difference."
    ),
    (
        "**Your application.** Consumers here do nothing with a message. In a real one, Django, "
        "the database and the WebSocket take their time too, as a rule more than the layer does."
    ),
    (
        "**Rare events.** With {rounds}, and short ones, what happens once in a minute does not "
        "show. A difference that is not larger than the spread is none."
    ),
    "**Other versions.** The figures are of the versions above, on one day.",
    (
        "**What is promised.** Contenders differ in what they do for their time: whether a "
        "message waits for its reader, reaches one worker or all, or leaves the process at all. "
        "See [Choosing a layer](choosing.md)."
    ),
)
