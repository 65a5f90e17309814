"""Material properties from one physical field, the electron density.

The nine commands are `rhonet/<verb>.py`. Everything else lies in thirteen folders, the wings, in the order of a
density's trip; each imports only wings that stand before it (tests/test_layout.py):

    core           densities, properties, predictions, settings (config.py), errors
    formats        files <-> densities; writers.py writes, the others read
    data           a user's folder -> data set, index, groups and splits; checks/ says what is odd in it
    models         networks: encoders, heads, losses; Keras alone
    views          a density of any grid -> the network's input cube
    uncertainty    intervals, class probabilities, novelty (from the density's peaks)
    evaluation     scores and their intervals; baselines/ is what a network must beat
    reports        tables, pages and CSV of an evaluation; plots/ has the figures
    training       one run: folder, loop, checkpoints
    serving        a trained model leaves its run: export, card, ONNX, answers; triton/ is the server
    attribution    where in a crystal a prediction comes from
    experiments    whole workflows: train_model, evaluate_model; studies of many trials; leaks between splits
    cli            what the commands share
"""

__version__ = "0.1.0"
