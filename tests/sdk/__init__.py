"""The SDK: functions, sessions, client and transports."""
