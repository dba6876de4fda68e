"""The event log: Kafka's topics, producing, reading ranges, administration, brokers of ours.

Guarantees:
- All of it works alike on Apache Kafka and on the embedded broker; one contract test holds it to that.
- Nothing connects when imported.
"""
