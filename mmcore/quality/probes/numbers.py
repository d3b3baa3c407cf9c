"""Numbers as the profile holds them."""


def rounded(value: float) -> float:
    """Six significant digits: the last bits of a float differ between processors, the profile must not."""
    return float(f"{value:.6g}")
