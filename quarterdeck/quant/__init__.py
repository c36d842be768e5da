"""The mathematics of research: data, formulas, evaluation, simulation, attribution; no database and no client."""
