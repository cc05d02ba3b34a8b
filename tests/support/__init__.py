"""What tests need around the layers: servers, proxies, worker processes, layers to close."""
