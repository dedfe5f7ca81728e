x = linspace (0, 2 * pi, 50);
plot (x, sin (x));
title ("sine");
print ("-dpng", "sine.png");
bytes = stat ("sine.png").size;
printf ("%d\n", bytes > 1000);
