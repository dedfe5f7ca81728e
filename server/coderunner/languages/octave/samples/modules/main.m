addpath("shapes");
printf("%.3f\n", circle_area(2));
