"""The segments engine alone, at 1 M profiles and 20 M events: asked, kept up, restarted."""
