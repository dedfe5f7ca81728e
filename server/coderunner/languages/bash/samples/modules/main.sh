source lib/greet.sh

greet "several files"
