#!/bin/bash
set -e
pip install bitsandbytes
