"""Programs that several tests read."""

EVERYTHING = r'''import "std/media"  // Scene, split_scenes, sample_frames, transcribe, …

/// A task of our own, in words: the compiler finds who can do it.
task name_objects(frames: [Image]) -> [Text] "Name the objects in the frames."

task answer(query: Text, notes: [{ frames: [Image], speech: Text?, objects: [Text]? }]) -> Text
    "Answer the query from the notes."
    system "You answer questions about videos. Be brief."
    prompt """
    {notes}
    Question: {query}
    """

effect task notify(message: Text) -> Bool "Post the message." using webhook

workflow video_qa(query: Text, video: Video) -> Text
    "Answer a question about a video."
    minimize energy then cost
    require accuracy >= 0.64
    require p95 latency <= 30 s
    require cost <= $0.01
    expect rate = 120 / min
    expect video.duration = 60 s
    expect len(scenes) = 8
    expect tokens(answer) = 200
{
    scenes = split_scenes(video)
    notes = for scene in scenes where scene.end - scene.start > 0.5 {
        frames  = sample_frames(scene) with { frames <= 10 }
        speech  = optional transcribe(scene) with { device: cpu }
        objects = optional name_objects(frames)
        yield { frames, speech, objects }
    }
    return if len(notes) > 0 { yield answer(query, notes) } else { yield "nothing to see" }
}
'''
