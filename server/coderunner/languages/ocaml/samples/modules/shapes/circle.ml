let area radius = Float.pi *. radius *. radius
