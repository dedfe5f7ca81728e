from PIL import Image, ImageDraw

picture = Image.new("RGB", (240, 120), "navy")
draw = ImageDraw.Draw(picture)
draw.ellipse((70, 10, 170, 110), fill="gold")
picture.show()
print(picture.size, picture.getpixel((120, 60)))
