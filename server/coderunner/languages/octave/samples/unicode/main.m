words = {"Grüße", "Привет", "こんにちは", "🙂"};
for index = 1:numel(words)
  printf("%s %d\n", words{index}, numel(unicode2native(words{index}, "UTF-32BE")) / 4);
end
