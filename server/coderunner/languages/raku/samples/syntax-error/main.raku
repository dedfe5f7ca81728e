say "never";
if True {
