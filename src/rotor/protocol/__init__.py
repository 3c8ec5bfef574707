"""What crosses the wire between the SDK and the server: messages, their codec, durations and signatures."""
