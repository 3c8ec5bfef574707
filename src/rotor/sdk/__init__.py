"""What a workflow author uses: functions, their context and steps, the client, and the two transports."""
