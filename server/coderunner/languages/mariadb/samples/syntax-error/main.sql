SELEC 'never' AS moment;
