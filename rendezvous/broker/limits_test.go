package broker

// usual is what a surrogate relays.
var usual = Config{Relays: 256, DeviceRelays: 4}
