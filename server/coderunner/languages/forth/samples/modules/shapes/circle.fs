: circle-area ( F: radius -- area )
  fdup f* pi f* ;
