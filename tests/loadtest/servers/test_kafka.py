import asyncio

from aiokafka.admin import AIOKafkaAdminClient


async def test_every_broker_of_the_cluster_answers_and_knows_the_others(kafka_servers: list[str]) -> None:
    async with asyncio.timeout(60):
        for server in kafka_servers:
            admin = AIOKafkaAdminClient(bootstrap_servers=server)
            await admin.start()
            try:
                cluster = await admin.describe_cluster()
            finally:
                await admin.close()
            assert sorted(f"{broker['host']}:{broker['port']}" for broker in cluster["brokers"]) == sorted(
                kafka_servers
            )
