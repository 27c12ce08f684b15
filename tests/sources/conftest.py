import pytest
import sqlalchemy as sa

from orchestrator.connections import Connections
from orchestrator.sources.port import Opening


class Warehouse:
    """A database of the user's, and how a source reaches it."""

    def __init__(self, url, workdir):
        self.engine = sa.create_engine(url)
        self.connections = Connections(lambda _name: url)
        self.opening = Opening(connections=self.connections, workdir=workdir)

    @property
    def dialect(self):
        return self.engine.dialect.name

    def run(self, *statements):
        with self.engine.begin() as db:
            for statement in statements:
                db.exec_driver_sql(statement)

    def put(self, table, rows):
        """Make a table and fill it."""
        table.create(self.engine)
        if rows:
            with self.engine.begin() as db:
                db.execute(table.insert(), rows)


@pytest.fixture
def warehouse(registry_url, tmp_path):
    made = Warehouse(registry_url, tmp_path)
    yield made
    made.connections.close()
    made.engine.dispose()
