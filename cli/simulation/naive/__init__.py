"""A second answer to every rule: per profile, from the semantics alone, slow and independent."""
