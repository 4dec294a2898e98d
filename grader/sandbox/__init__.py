"""Runs code that nobody vouches for, and lets only values of it out.

`remote` is the door that suites talk to, on the trusted side; `worker` answers it from inside; `warden` starts the
worker, walls it in, and sweeps up after it; `wire` is what the two say to each other.
"""
