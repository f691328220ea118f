"""alerts: says when the activity of a segment is too high or too low, and when that is over.

decides    whether a closed point of a watch's series raises or resolves an alert
consumes   TRANSITIONS: sizes, entered and left, activity of members, by partition
publishes  ALERTS: AlertRaised and AlertResolved
serves     muster.alerts.v1.AlertsService: watches, points, alerts
keeps      PostgreSQL, schema `alerts`: watches and their state, points, notices, its position
"""
