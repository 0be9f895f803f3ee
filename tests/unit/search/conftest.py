import pytest

from sigdca.job import parse_job

JOB = """
name: study
model: lenet-300-100
data: {source: mnist}
train: {workers: 2, strategy: fsdp, epochs: 3, batch_size: 50}
compress:
  recipe:
    - prune: {sparsity: {ip1: 0.9, ip2: 0.8}, epochs: 8}
    - share: {bits: 4, epochs: 3}
    - encode: {coder: huffman}
search:
  space:
    compress.recipe.0.prune.sparsity.ip1: {uniform: [0.8, 0.99]}
    compress.recipe.1.share.bits: {int: [2, 6]}
    compress.recipe.2.encode.coder: {choice: [huffman, arithmetic]}
  num_trials: 5
budget: {error: 2.0, container_bytes: 20000}
"""


@pytest.fixture
def make_job():
    def make(*settings):
        return parse_job(JOB, "study.yaml", settings)

    return make
