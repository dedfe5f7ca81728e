val area : float -> float
