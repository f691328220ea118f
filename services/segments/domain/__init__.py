"""The language of rules: values, conditions, faults and their sentences. Pure; stdlib only."""
