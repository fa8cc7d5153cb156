"""Which operators must stay in fp32."""
