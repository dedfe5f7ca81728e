printf("never\n");
if true
  printf("unfinished\n"
