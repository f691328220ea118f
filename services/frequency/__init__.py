"""frequency: decides whether a message may go to a person now, later or not at all.

decides    limits over rolling and calendar windows, minimum gaps, preferred hours, deferral
consumes   TRIGGERS: a strategy's asks turn a trigger into the wish for a message;
           PROFILES: who became one person with whom, and who is one no more
publishes  MESSAGES: what became of each of those wishes (MessageDecided)
serves     muster.frequency.v1.FrequencyService: strategies, reserve, confirm, release, report
keeps      PostgreSQL, schema `frequency`: strategies, reservations, deferred asks, its position
"""
