#!/bin/sh
echo starting
nohup uvicorn main:app --host 0.0.0.0 --port 80 > log.txt 2>&1 &
