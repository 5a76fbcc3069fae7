"""Full fine-tuning: all of the trunk trains and its stochastic depth acts; task files hold it."""

method = dict(type='mmqadapter.FrozenBackbone', train=('.',), trunk_drop_path=True)
ade20k_rate = 6e-5  # of mmsegmentation's recipe; a decoder on a frozen trunk takes more
