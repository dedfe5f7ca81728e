printf '{"a": [1, 2, 3]}' | jq -c '.a | map(. * 2)'
echo '2 ^ 70' | bc
printf 'a 1\nbbb 2\n' | column -t
printf 'hi' | xxd -p
mkdir -p folder/inner
tree --noreport folder
git init -q folder && git -C folder -c user.name=a -c user.email=a@b commit -q --allow-empty -m first && git -C folder log --format=%s
tar -cJf folder.tar.xz folder && zip -qr folder.zip folder && unzip -tqq folder.zip && echo packed
printf 'all:\n\t@echo made\n' | make -f -
man ls | grep -o 'list directory contents'
