import plotly.express as px

frame = px.data.iris()
figure = px.scatter(frame, x="sepal_width", y="sepal_length", color="species", title="Iris")
figure.show()  # a page of its own, among the artifacts
print(len(frame), "flowers in", len(figure.data), "colours")
