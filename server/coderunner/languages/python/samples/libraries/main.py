import colorama
import networkx
import pytest
import requests
import tqdm
from PIL import Image
from rich.text import Text

ways = networkx.Graph([("a", "b"), ("b", "c"), ("a", "d")])
print(networkx.shortest_path(ways, "d", "c"))
print(Image.new("RGB", (4, 3), "red").getpixel((1, 1)))
print(requests.Request("GET", "http://localhost/", params={"q": 1}).prepare().url)
print(Text("rich").plain, len(colorama.Fore.RED), sum(tqdm.tqdm(range(4), disable=True)))
with pytest.raises(ZeroDivisionError):
    raise ZeroDivisionError
