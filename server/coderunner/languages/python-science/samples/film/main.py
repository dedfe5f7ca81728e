import matplotlib.pyplot as plt
import numpy as np
from matplotlib.animation import FuncAnimation

figure, axes = plt.subplots(figsize=(4, 3))
x = np.linspace(0, 2 * np.pi, 100)
(line,) = axes.plot(x, np.sin(x))


def frame(number):
    line.set_ydata(np.sin(x + number / 5))
    return (line,)


FuncAnimation(figure, frame, frames=12).save("wave.mp4", fps=12)
with open("wave.mp4", "rb") as film:
    print(film.read(8)[4:])
