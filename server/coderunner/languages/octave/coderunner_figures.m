## Saves the figures that are open when a program ends as pictures, which the page shows.
function coderunner_figures ()
  figures = sort (get (0, "children"));
  folder = "/workspace/.pictures";
  for number = 1:numel (figures)
    if (isempty (get (figures(number), "children")))
      continue;
    endif
    [~, ~] = mkdir (folder);
    print (figures(number), "-dpng", sprintf ("%s/figure-%d.png", folder, number));
  endfor
endfunction
