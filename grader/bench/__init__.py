"""The measurements that README quotes: the chapter's claims, and what each method costs the model.

Each runs in its own process, with torch. Imports `suite` and `results`.
"""
