"""Runs untrusted code in worker processes and lets only values of it out.

sandboxed_student, worker_client and protocol are the trusted side's way to a worker; worker_main answers inside.
Imports `results` and `suite`; what finds out the tier (policy) imports no torch.
"""
