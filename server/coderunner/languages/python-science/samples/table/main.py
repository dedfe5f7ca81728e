import pandas as pd

weather = pd.DataFrame(
    {
        "city": ["Oslo", "Rome", "Oslo", "Rome", "Lima"],
        "month": ["January", "January", "July", "July", "July"],
        "celsius": [-4.5, 8.0, 18.5, 27.0, 17.5],
    }
)
print(weather.pivot_table(index="city", columns="month", values="celsius"))
print("The warmest:", weather.loc[weather.celsius.idxmax(), "city"])
