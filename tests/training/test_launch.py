from torch.distributed.run import get_args_parser


def test_torchrun_takes_no_word_of_a_stage_for_one_of_its_own() -> None:
    words = ["stage", "pretrain", "--rank", "output", "--init", "start"]
    read = get_args_parser().parse_args(["--nproc-per-node=2", "-m", "mmcore", *words])
    assert read.training_script_args == words
