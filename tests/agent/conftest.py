from tests.agent.outside import agent

__all__ = ["agent"]
