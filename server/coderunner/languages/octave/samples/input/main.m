name = input("What is your name? ", "s");
printf("Hello, %s!\n", name);
