"""Chinese, Japanese and Korean letters in every figure, whatever fonts it asks for.

Matplotlib looks for a letter in each font of a list; one that has them is the last of every list. And the
names by which programs ask for such fonts on other systems are names of it.
"""

from dataclasses import replace

FILE = "/usr/share/fonts/truetype/wqy/wqy-microhei.ttc"
NAMES = (
    "SimHei", "SimSun", "NSimSun", "KaiTi", "FangSong", "Microsoft YaHei", "Microsoft JhengHei",
    "PingFang SC", "PingFang TC", "PingFang HK", "Heiti SC", "Heiti TC", "STHeiti", "STSong",
    "Songti SC", "Arial Unicode MS", "Noto Sans CJK SC", "Noto Sans CJK TC", "Noto Sans CJK JP",
    "Noto Sans CJK KR", "Noto Sans SC", "Noto Sans TC", "Noto Sans JP", "Noto Sans KR",
    "Source Han Sans SC", "Source Han Sans CN", "WenQuanYi Zen Hei", "MS Gothic", "MS Mincho", "Yu Gothic",
    "Meiryo", "Hiragino Sans", "Hiragino Maru Gothic Pro", "IPAexGothic", "IPAGothic",
    "TakaoGothic", "TakaoPGothic", "Malgun Gothic", "NanumGothic", "AppleGothic", "Gulim", "Batang",
)  # fmt: skip


def extend(manager):
    """The class FontManager, while its module is being read."""
    find = manager._find_fonts_by_props
    begin = manager.__init__

    def find_fonts(self, *arguments, **options):
        found = find(self, *arguments, **options)
        plain = "afm" not in (*arguments[1:2], options.get("fontext"))
        return [*found, FILE] if plain and FILE not in found else found

    def init(self, *arguments, **options):
        begin(self, *arguments, **options)
        ours = [one for one in self.ttflist if one.fname == FILE]
        there = {one.name for one in self.ttflist}
        for one in ours[:1]:
            self.ttflist += [replace(one, name=name) for name in NAMES if name not in there]

    manager._find_fonts_by_props = find_fonts
    manager.__init__ = init
