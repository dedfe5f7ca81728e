printf("before\n");
numbers = [1, 2];
disp(numbers(3));
printf("never\n");
