number=1
for argument in "$@"; do
    echo "$number $argument"
    number=$((number + 1))
done
