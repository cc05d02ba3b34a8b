#!/bin/sh
# Build the sdist and the wheel of every package into dist/<package>.
set -eu
cd "$(dirname "$0")/../.."
for folder in packages/*; do
  (cd "$folder" && python -m hatchling build --clean --directory "../../dist/${folder#packages/}")
done
