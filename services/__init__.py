"""Muster: five services over one log.

    ingest      INTAKE            -> EVENTS, RECEIPTS     takes in what customers do
    identity    EVENTS, CONTROL   -> PROFILES             who is who; puts all in one order
    segments    PROFILES, HISTORY -> TRANSITIONS, HISTORY who is in which segment
      (relay)   TRANSITIONS       -> TRIGGERS             what subscribers hear of it
    frequency   TRIGGERS          -> MESSAGES             may this message go now
    alerts      TRANSITIONS       -> ALERTS               too much, too little

Facts flow forward only; each subject has one writer; a service never imports or calls another.
"""
