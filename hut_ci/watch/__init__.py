"""A lab that polls: it asks the forges what there is to test, and nothing listens.

    publisher  holds the token and touches no board:  news → decide → announce → plan → hand over … answer
    bench      holds boards and relays and has no token:  take over → run → report

Between them lies a spool folder (spool.py). What was seen, decided and published survives any kill in a database
(store.py); every step may be done twice and changes nothing the second time.
"""
