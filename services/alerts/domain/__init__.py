"""The pure rules of alerts: points on a grid and the state machine that judges them."""
