import numpy as np
from scipy import stats
from sklearn.linear_model import LinearRegression

random = np.random.default_rng(7)
x = np.arange(50)
y = 3 * x + 10 + random.normal(0, 4, 50)

line = stats.linregress(x, y)
print(f"SciPy:        y = {line.slope:.2f} x + {line.intercept:.2f}")
model = LinearRegression().fit(x.reshape(-1, 1), y)
print(f"scikit-learn: y = {model.coef_[0]:.2f} x + {model.intercept_:.2f}")
